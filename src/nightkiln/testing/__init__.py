"""Fakes for tests, shipped so that others may test against us. Product code never imports them."""
