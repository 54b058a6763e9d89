"""What the boats of the harbour are called."""

BOATS = ("Albatross", "Puffin", "Cormorant", "Kittiwake", "Guillemot", "Razorbill", "Fulmar", "Gannet")
