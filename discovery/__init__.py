"""Crawlers, their runner and schedule, extraction from text."""
