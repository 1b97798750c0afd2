"""Parts of the methods that write or read: facets, soft prompts, and what makes them affordable."""
