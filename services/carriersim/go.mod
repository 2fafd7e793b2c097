module recourse.dev/services/carriersim

go 1.26.0
