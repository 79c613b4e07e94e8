// Functions without a body (lease.go) want an assembly file in their package.
