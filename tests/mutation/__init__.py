"""Seeded defects: does anybody notice them?"""
