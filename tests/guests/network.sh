# shellcheck shell=dash
# In a network guest: loads the drivers.
while read -r module; do
    insmod "/lib/network/$module"
done < /lib/network/order
