"""Labels made by asking: answers of a weak and a strong model, scored by a judge or against known answers."""
