"""What jobs take of what the device draws: samples, an idle baseline, and the shares of those who ran; it reads no sensor."""
