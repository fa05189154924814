"""Spans of OpenTelemetry: one trace per access request through all services, exported off the path of any request."""
