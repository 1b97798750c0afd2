"""The report's tables as plain rows; the template only draws them."""
