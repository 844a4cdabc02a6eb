//! Recogniser pool: slots, endpointing, one worker thread a device.
