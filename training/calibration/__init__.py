"""Estimator and calibrator: pairs, networks, fit, and age rules."""
