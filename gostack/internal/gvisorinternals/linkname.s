// Functions without a body (internals.go) require an assembly file in their package.
