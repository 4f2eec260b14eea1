module ebb.invalid/kn

go 1.24

require knative.dev/client v0.42.0
