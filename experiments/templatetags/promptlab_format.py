"""Formatting for templates: percent, interval, count, duration, money. No queries, no arithmetic beyond a unit."""

from django import template

register = template.Library()
