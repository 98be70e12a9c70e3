"""A dossier and a policy made into cases, and the waivers of the policy."""
