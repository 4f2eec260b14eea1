module ebb.invalid/conformance

go 1.24

require knative.dev/serving v0.44.0

replace k8s.io/gengo/v2 => k8s.io/gengo/v2 v2.0.0-20240228010128-51d4e06bde70
