"""What people read: figures of a run and of experiments as pages, tables, charts and documents."""
