"""The atelier: a text-to-image world small enough to ship, so that every audit can be tried without download or GPU."""
