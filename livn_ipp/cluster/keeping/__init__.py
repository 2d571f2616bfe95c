"""Replies, results and plans that are kept until somebody has them."""
