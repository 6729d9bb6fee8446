package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/proto/host"
)

// newServiceCommand returns the service host, the command of every service that
// names none. What no flag says comes from the environment bhnode gives a service.
func newServiceCommand() *cobra.Command {
	var config, socket string
	var port uint16
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Runs the service host, the smallest Blackhole service",
		Long: `Answers gRPC health on the socket and the port (loopback only), SERVING while every
dependency named by BLACKHOLE_SOCKET_<DEPENDENCY> or BLACKHOLE_PORT_<DEPENDENCY> answers
SERVING. Logs JSON lines on standard output and drains on SIGTERM.`,
		Example: `  bhnode service identity --socket identity.sock --port 50001`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := host.FromEnv(append(os.Environ(), "BLACKHOLE_SERVICE="+args[0]), cmd.OutOrStdout())
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("socket") {
				options.Socket = socket
			}
			if cmd.Flags().Changed("port") {
				options.Port = int(port)
			}
			if config != "" {
				if _, err := os.ReadFile(config); err != nil {
					return fmt.Errorf("cannot read the service's configuration: %w", err)
				}
			}
			return host.Run(cmd.Context(), options)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the service's own configuration `file`")
	cmd.Flags().StringVar(&socket, "socket", "", "unix socket to answer on (default: $BLACKHOLE_SOCKET)")
	cmd.Flags().Uint16Var(&port, "port", 0, "TCP port of the loopback interface to answer on (default: $BLACKHOLE_PORT)")
	return cmd
}
