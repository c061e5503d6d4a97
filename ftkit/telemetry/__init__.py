from ftkit._moved import old_attribute

__getattr__ = old_attribute('telemetry')
