"""Ten unlearning methods in the atelier: one campaign, and the table of what it found."""
