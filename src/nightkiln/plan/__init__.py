"""The brain, pure: when to retry, wait and stop. Time and chance come in as arguments."""
