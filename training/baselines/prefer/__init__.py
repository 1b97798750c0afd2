"""PREFER: devices train together through edge servers, and their events never leave them."""
