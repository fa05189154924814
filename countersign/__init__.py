"""Countersign: step-up authentication over Kafka, with a code by SMS."""
