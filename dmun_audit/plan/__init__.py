"""The plan of an audit: its cases, their images, and the waivers of the policy."""
