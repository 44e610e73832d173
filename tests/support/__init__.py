"""Support: servers, workers, brokers and deadlines for the tests. There are no tests here."""
