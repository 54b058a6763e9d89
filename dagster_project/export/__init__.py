"""What exports need of campaigns and the trainer beside the warehouse: words, settings, supervised examples."""
