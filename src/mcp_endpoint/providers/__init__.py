"""Tool servers that the broker opens itself: each ends up as one more tool-side link."""
