"""What people look at: plots, pages and trees made of what the warehouse holds."""
