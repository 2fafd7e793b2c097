module recourse.dev/services/gatewaysim

go 1.26.0
