"""Training of the text student: bags of words of every step, and the fit."""
