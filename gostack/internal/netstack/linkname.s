// Functions without a body (inline.go) want an assembly file in their package.
