"""Conversations in which the target itself says what the assistant says."""
