package conformance

func puppetCommand(script []byte) []string { return []string{"puppet", string(script)} }
