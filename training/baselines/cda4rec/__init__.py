"""CDA4Rec: a plan for each request says what the cloud and the device each do."""
