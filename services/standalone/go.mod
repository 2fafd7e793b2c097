module recourse.dev/services/standalone

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	github.com/stretchr/testify v1.12.1
	github.com/twmb/franz-go v1.22.2
	google.golang.org/protobuf v1.36.12
	recourse.dev/coordinator v0.0.0-00010101000000-000000000000
	recourse.dev/pkg v0.0.0-00010101000000-000000000000
	recourse.dev/schemas v0.0.0-00010101000000-000000000000
	recourse.dev/services/carriersim v0.0.0-00010101000000-000000000000
	recourse.dev/services/gatewaysim v0.0.0-00010101000000-000000000000
	recourse.dev/services/inventory v0.0.0-00010101000000-000000000000
	recourse.dev/services/mailsink v0.0.0-00010101000000-000000000000
	recourse.dev/services/notification v0.0.0-00010101000000-000000000000
	recourse.dev/services/payment v0.0.0-00010101000000-000000000000
	recourse.dev/services/shipping v0.0.0-00010101000000-000000000000
)

replace (
	recourse.dev/coordinator => ../../coordinator
	recourse.dev/migrations => ../../migrations
	recourse.dev/pkg => ../../pkg
	recourse.dev/schemas => ../../schemas
	recourse.dev/services/carriersim => ../carriersim
	recourse.dev/services/gatewaysim => ../gatewaysim
	recourse.dev/services/inventory => ../inventory
	recourse.dev/services/mailsink => ../mailsink
	recourse.dev/services/notification => ../notification
	recourse.dev/services/payment => ../payment
	recourse.dev/services/shipping => ../shipping
)
