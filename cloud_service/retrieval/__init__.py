"""Candidate retrieval: the N items whose vectors score highest with e_sem (SCaLRec eq. 7)."""
