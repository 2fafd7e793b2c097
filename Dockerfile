# One Dockerfile for every service:
#
#   docker build --build-arg SERVICE=inventory --build-arg VERSION=1.4.0 -t recourse/inventory .
#
# SERVICE is coordinator, inventory, payment, shipping, notification, audit, gatewaysim, carriersim or mailsink. All of
# them are compiled in one layer, which the images share: the second image of a build costs a copy. BASE needs no shell and no
# libc; the user in it is unprivileged.
ARG GOLANG=golang:1.26
ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM ${GOLANG} AS build
WORKDIR /src
# Empty means Go's own default.
ARG GOPROXY
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
COPY . .
ARG VERSION=devel
RUN mkdir -p /out/bin /out/data \
 && go build -trimpath -ldflags "-s -w -X recourse.dev/pkg/service.version=${VERSION}" -o /out/bin/ \
    ./coordinator/cmd/* ./services/*/cmd/*

FROM ${BASE}
ARG SERVICE
ARG VERSION=devel
LABEL org.opencontainers.image.title="recourse ${SERVICE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/bin/${SERVICE} /service
# The one place to write to, for the simulators' ledgers and mails: mount a volume here.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# Processes listen on loopback unless told otherwise; in a container, the platform decides who gets in.
ENV HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["/service", "healthcheck"]
ENTRYPOINT ["/service"]
CMD ["serve"]
