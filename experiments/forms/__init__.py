"""The shape of what people type, cleaned to its final type. Forms write nothing."""
