"""What forecasts are made with: records and arithmetic, images that stand in, measurements on this device."""
