"""A fleet of clients comes back when the server does, and one that gives up does so alone."""

from __future__ import annotations
