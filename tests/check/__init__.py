"""What the tests of the checker share."""
