"""One router per resource; each is made by a function that takes what it needs."""
