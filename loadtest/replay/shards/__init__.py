"""A fleet in several processes: who serves which users, and how their records become one run."""
