"""What commands do: one job from end to end, or a part that several of them share."""
