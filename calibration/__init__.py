"""Cost models fitted from runs, their store, and the check of predictions against runs."""
