"""What a practitioner would try before calibrating: pure functions of snapshots and own history."""
