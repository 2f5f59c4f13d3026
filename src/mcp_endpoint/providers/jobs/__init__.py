"""Calls that go on after their caller was answered."""
