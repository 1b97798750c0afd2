"""Generative cloud recommenders of LSC4Rec: item tokens, P5 and POD."""
