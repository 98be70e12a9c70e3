"""Claim groups: erasure, adversarial, retention, the controls and the ordering, one file each.

A claim group is one object (`group.ClaimGroup`). It plans its cases, says which images are drawn and what the outcome of an
image is, decides a case and the group, and words what was seen. A new group is one new file here that defines `GROUP`;
`registry` finds it. Another package registers its own under the entry point `dmun_audit.claim_groups`.
"""
