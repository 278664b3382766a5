"""The use cases, over a store and a vault. Knows neither HTTP nor who asks."""
